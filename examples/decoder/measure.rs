//! The time of prefill and of decoding after given numbers of tokens: of all processors, of the calling thread, which records and waits,
//! and by the clock.

use std::time::Instant;

use lowbit::Context;

use crate::Result;
use crate::device::Decoder;
use crate::model::{Model, Wanted};

/// Tokens that are timed one by one.
pub(crate) const SINGLES: usize = 8;

/// Prints the time of a chunk and of single tokens after each number of tokens. The caches hold zeros there, which take as long.
pub(crate) fn measure(context: &Context, model: &Model, chunk: usize, lengths: &[usize]) -> Result<()> {
    let mut decoder = Decoder::new(context, model, chunk, &Wanted::Token)?;
    let mut timed = |length: usize, count: usize, steps: usize| -> Result<String> {
        let mut run = |steps: usize| -> Result<()> {
            decoder.length = length;
            for _ in 0..steps {
                decoder.append(&vec![1; count])?;
                decoder.output(0)?;
            }
            Ok(())
        };
        // Compilation is not counted.
        run(1)?;
        let (clock, before) = (Instant::now(), [processor_seconds(), thread_seconds()]);
        run(steps)?;
        let (wall, after) = (clock.elapsed().as_secs_f64(), [processor_seconds(), thread_seconds()]);
        let of_token = |seconds: f64| 1e3 * seconds / (count * steps) as f64;
        let [processors, thread] = [0, 1].map(|i| {
            let spent = before[i].zip(after[i]).map(|(before, after)| after - before);
            spent.map_or(f64::NAN, of_token)
        });
        Ok(format!(
            "{processors:.1} ms of processors, {thread:.2} of them of the calling thread, {:.1} ms",
            of_token(wall)
        ))
    };
    for &length in lengths {
        let (prefill, token) = (timed(length, chunk, 1)?, timed(length, 1, SINGLES)?);
        println!("after {length} tokens: of {chunk} tokens each {prefill}; a token alone {token}");
    }
    Ok(())
}

/// The time that this process has used, user and system, in steps of 10 ms; where the system tells.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may contain spaces.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / 100.0);
    Some(seconds()? + seconds()?)
}

/// The time that the calling thread has used, where the system tells.
fn thread_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}
