//! Compiles, prints and checks.

use std::collections::{BTreeSet, HashMap};
use std::process::ExitCode;

use clap::Parser;
use lowbit::kernels::{self, Candidate};
use serde_json::json;

use crate::aco::{self, Loop};
use crate::cases::{Case, cases};
use crate::device::{Code, Device, Result};
use crate::model::{GPUS, Gpu, Shape, moving_time, product_time};

/// The greatest time of a first guess, relative to that of the best candidate.
const SLOWEST: f64 = 1.15;
/// The most bytes of a hot loop.
const LOOP_BYTES: u32 = 16 << 10;

const SLOWER: &str = "slower than the best";

/// The estimate knows a kind of GPU, not its number of schedulers: a grid that fills one device leaves another half idle.
const SCHEDULERS: &str = "the number of schedulers";
/// The estimate knows no counts of one compiler, such as instructions that it moves to a scalar unit.
const COMPILER: &str = "one compiler's count of instructions or registers";

/// The driver that the estimate was fitted to. Others are not asked if a first guess is slower than the best.
const FITTED: &str = "Mesa 22.3";

/// Faults that are known: GPU, case, fault, and the reason, by [`FITTED`]. An entry that isn't needed fails the check.
const EXCEPTIONS: [(&str, &str, &str, &str); 9] = [
    ("NAVI31", "w8a8s g32 m=128", SLOWER, SCHEDULERS),
    ("NAVI31", "w4a16 g32 m=128", SLOWER, COMPILER),
    ("NAVI31", "w8a16 g32 m=128", SLOWER, COMPILER),
    ("NAVI31", "w4a16 g128 m=128", SLOWER, COMPILER),
    ("NAVI21", "f32 matmul m=128", SLOWER, SCHEDULERS),
    ("VEGA20", "w4a8 g32 m=2", SLOWER, COMPILER),
    ("VEGA20", "w4a8 g32 m=512", SLOWER, COMPILER),
    ("VEGA20", "w4a8s g32 m=512", SLOWER, COMPILER),
    ("VEGA20", "w8a8s g32 m=512", SLOWER, COMPILER),
];

/// Asks the compiler of a GPU about the kernels.
#[derive(Parser)]
struct Arguments {
    /// Only cases whose names contain this.
    #[arg(default_value = "")]
    filter: String,
    /// Fails on a fault of a first guess.
    #[arg(long)]
    check: bool,
    /// Prints all candidates.
    #[arg(long)]
    all: bool,
    /// Prints a line of JSON for each candidate.
    #[arg(long)]
    json: bool,
    /// Prints the assembly too.
    #[arg(long)]
    assembly: bool,
}

pub(crate) fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A candidate as the compiler sees it: the launch that does most of the work.
struct Compiled {
    label: String,
    shape: Shape,
    code: Code,
    hot: Option<Loop>,
    /// Microseconds by the model; `None` for a GPU or an op that is not modelled.
    time: Option<f64>,
}

impl Compiled {
    fn registers(&self) -> f64 {
        self.code.statistic(&["VGPRs", "Number of GPRs", "GPRs", "Max live registers"])
    }

    /// Spilled registers and bytes of scratch memory.
    fn spills(&self) -> f64 {
        self.code.statistic(&["Spilled VGPRs", "Spill Count", "Spills"])
            + self.code.statistic(&["Scratch size", "SLM Size", "Scratch Memory Size", "Scratch"])
    }

    fn faults(&self, gpu: Option<&Gpu>, products: bool) -> Vec<&'static str> {
        let mut faults = Vec::new();
        if self.spills() > 0.0 {
            faults.push("spills");
        }
        if self.shape.lanes_used(&self.code) < 1.0 {
            faults.push("idle lanes");
        }
        if let Some(hot) = self.hot {
            if hot.bytes > LOOP_BYTES {
                faults.push("long loop");
            }
            if products && gpu.is_some() && hot.dots == 0 {
                faults.push("no dot instruction");
            }
        }
        faults
    }
}

/// Programs that were compiled, by name.
type Known = HashMap<String, Code>;

fn compile(
    device: &Device,
    gpu: Option<&Gpu>,
    case: &Case,
    candidate: &Candidate,
    known: &mut Known,
) -> Result<Compiled> {
    let main = candidate.dispatches.iter().max_by_key(|dispatch| dispatch.operations).ok_or("nothing to launch")?;
    let name = main.program.name();
    let code = match known.get(&name) {
        Some(code) => code.clone(),
        None => device.compile(main).map_err(|error| format!("{name}: {error}"))?,
    };
    known.insert(name.clone(), code.clone());
    let shape = Shape::new(&name, main.grid);
    let hot = aco::hot_loop(&code.assembly, case.work.map_or(0, |work| work.turns));
    let time = gpu.zip(case.work).zip(hot).map(|((gpu, work), hot)| {
        let moving = (candidate.dispatches.len() - 1) as f64 * moving_time(gpu, work);
        moving + product_time(gpu, work, shape, &code, hot)
    });
    Ok(Compiled { label: candidate.label.clone(), shape, code, hot, time })
}

fn run(arguments: &Arguments) -> Result<bool> {
    let device = Device::open()?;
    let gpu = GPUS.iter().find(|gpu| gpu.names.iter().any(|name| device.name.contains(name)));
    let family = gpu.map_or(device.name.as_str(), |gpu| gpu.names[0]);
    if !arguments.json {
        println!("{}, {:?}\n", device.name, device.caps);
        println!(
            "| case | candidate | lanes | used | registers | spills | waves resident | launched | dots : fma : other : loads | loop B | code B | us | best us | best candidate |"
        );
        println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    }
    let (mut known, mut unused) = (Known::new(), BTreeSet::new());
    unused
        .extend(EXCEPTIONS.iter().filter(|exception| exception.0 == family).map(|&(_, case, fault, _)| (case, fault)));
    let (mut faults, mut ratios) = (Vec::new(), Vec::new());
    for case in cases()?.iter().filter(|case| case.name.contains(&arguments.filter)) {
        let mut compiled = Vec::new();
        for candidate in kernels::candidates(&case.op, &device.caps) {
            match compile(&device, gpu, case, &candidate, &mut known) {
                Ok(one) => compiled.push(one),
                Err(error) => eprintln!("{}: {}: {error}", case.name, candidate.label),
            }
        }
        let first = compiled.first().ok_or("a case without candidates")?;
        let timed = || compiled.iter().filter_map(|one| Some((one.time?, one)));
        let best = timed().min_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut of_first = first.faults(gpu, case.work.is_some_and(|work| work.bits[1] == 8));
        if let (Some(time), Some((best, _))) = (first.time, best) {
            ratios.push(time / best);
            if time > SLOWEST * best && device.driver.contains(FITTED) {
                of_first.push(SLOWER);
            }
        }
        for fault in of_first {
            let entry =
                EXCEPTIONS.iter().find(|&&(gpu, name, known, _)| (gpu, name, known) == (family, &case.name, fault));
            match entry {
                Some(&(_, name, fault, _)) => drop(unused.remove(&(name, fault))),
                None => faults.push(format!("{}: {}: {fault}", case.name, first.label)),
            }
        }
        for one in compiled.iter().take(if arguments.all || arguments.json { compiled.len() } else { 1 }) {
            if arguments.assembly {
                println!("{}: {}\n{}", case.name, one.label, one.code.assembly);
            }
            print(arguments, case, one, best.map(|(time, one)| (time, one.label.as_str())));
        }
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(worst) = ratios.last() {
        eprintln!("first guess / best by the model: median {:.2}, worst {worst:.2}", ratios[ratios.len() / 2]);
    }
    if arguments.filter.is_empty() && device.driver.contains(FITTED) {
        faults.extend(unused.iter().map(|(case, fault)| format!("{case}: the exception for `{fault}` is not needed")));
    }
    faults.iter().for_each(|fault| eprintln!("{family}: {fault}"));
    Ok(!arguments.check || faults.is_empty())
}

fn print(arguments: &Arguments, case: &Case, one: &Compiled, best: Option<(f64, &str)>) {
    let (hot, code) = (one.hot.unwrap_or_default(), &one.code);
    let bytes = code.statistic(&["Code size", "Code Size", "Instruction Count"]);
    let resident = code.statistic(&["Subgroups per SIMD"]);
    if arguments.json {
        let line = json!({
            "case": case.name, "candidate": one.label, "lanes": code.lanes, "lanes_used": one.shape.lanes_used(code),
            "registers": one.registers(), "spills": one.spills(), "waves_resident": resident,
            "waves_launched": one.shape.waves(code), "dots": hot.dots, "fmas": hot.fmas, "matrices": hot.matrices,
            "vector": hot.vector, "slow": hot.slow, "memory": hot.memory, "workgroup": hot.workgroup,
            "loop_bytes": hot.bytes, "code_bytes": bytes, "microseconds": one.time, "statistics": code.statistics,
        });
        println!("{line}");
        return;
    }
    let microseconds = |time: Option<f64>| time.map_or_else(String::new, |time| format!("{time:.1}"));
    println!(
        "| {} | {} | {} | {:.0} % | {} | {} | {resident} | {} | {} : {} : {} : {} | {} | {bytes} | {} | {} | {} |",
        case.name,
        one.label,
        code.lanes,
        100.0 * one.shape.lanes_used(code),
        one.registers(),
        one.spills(),
        one.shape.waves(code),
        hot.dots,
        hot.fmas,
        hot.vector + 3 * hot.slow,
        hot.memory + hot.workgroup,
        hot.bytes,
        microseconds(one.time),
        microseconds(best.map(|(time, _)| time)),
        best.map_or("", |(_, label)| label),
    );
}
