//! Distances between two sets of results, and the quality of predictions. All sums are f64. The caller chooses the data.

use crate::model::noise::ratio;
use serde::{Deserialize, Serialize};

use crate::error::{Result, refuse, require};

/// Distance of results y from a reference x.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metrics {
    /// `10 · log10(Σ x² / Σ (x − y)²)`, in dB; infinite if nothing differs.
    #[serde(with = "decibel")]
    pub sqnr_db: f64,
    /// Mean of (x − y)².
    pub mse: f64,
    /// `Σ (x − y)² / Σ x²`.
    pub nmse: f64,
    /// `Σ x·y / (√Σx² · √Σy²)`; 1 if all x and y are 0, 0 if only all x or only all y are.
    pub cosine: f64,
    /// Greatest |x − y|.
    pub max_error: f64,
    /// Mean over rows of `Σ p · ln(p / q)` for p = softmax(x), q = softmax(y), in nats.
    pub kl: f64,
    /// The share of rows whose largest element (the first of equals) is in the same place.
    pub agreement: f64,
}

/// JSON has no infinity, so it is written as null.
mod decibel {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

impl Metrics {
    /// The metrics of rows of this many classes (or channels).
    ///
    /// ```
    /// use lowbit::evaluate::Metrics;
    /// let metrics = Metrics::new(&[3.0, 4.0], &[3.0, 4.5], 2)?;
    /// assert_eq!((metrics.mse, metrics.max_error, metrics.agreement), (0.125, 0.5, 1.0));
    /// assert!((metrics.sqnr_db - 20.0).abs() < 1e-12); // 25 to 0.25
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the lengths differ, or are no whole number of rows.
    pub fn new(reference: &[f32], test: &[f32], classes: usize) -> Result<Self> {
        require!(
            reference.len() == test.len() && classes > 0 && reference.len().is_multiple_of(classes),
            "{} and {} numbers can't be compared in rows of {classes}: they must be as many, and whole rows",
            reference.len(),
            test.len()
        );
        let (mut signal, mut noise, mut product, mut tested, mut max_error) = (0.0, 0.0, 0.0, 0.0, 0.0f64);
        for (&x, &y) in reference.iter().zip(test) {
            let (x, y) = (f64::from(x), f64::from(y));
            signal += x * x;
            tested += y * y;
            product += x * y;
            noise += (x - y) * (x - y);
            max_error = max_error.max((x - y).abs());
        }
        let rows = reference.chunks_exact(classes).zip(test.chunks_exact(classes));
        let count = rows.len().max(1) as f64;
        let (mut kl, mut same) = (0.0, 0);
        for (x, y) in rows {
            let (p, q) = (log_softmax(x), log_softmax(y));
            kl += p.iter().zip(&q).map(|(p, q)| if p.is_finite() { p.exp() * (p - q) } else { 0.0 }).sum::<f64>();
            same += usize::from(largest(x) == largest(y));
        }
        let nmse = ratio(noise, signal);
        let cosine = match (signal == 0.0, tested == 0.0) {
            (true, true) => 1.0,
            (false, false) => product / (signal.sqrt() * tested.sqrt()),
            _ => 0.0,
        };
        Ok(Self {
            sqnr_db: -10.0 * nmse.log10(),
            mse: noise / reference.len().max(1) as f64,
            nmse,
            cosine,
            max_error,
            kl: kl / count,
            agreement: if reference.is_empty() { 1.0 } else { f64::from(same as u32) / count },
        })
    }
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let greatest = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b.into()));
    let sum: f64 = row.iter().map(|&x| (f64::from(x) - greatest).exp()).sum();
    row.iter().map(|&x| f64::from(x) - greatest - sum.ln()).collect()
}

fn largest(row: &[f32]) -> usize {
    (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0)
}

/// The class of each row: the position of its largest element, the first of equals.
#[must_use]
pub fn classes(logits: &[f32], classes: usize) -> Vec<usize> {
    logits.chunks_exact(classes.max(1)).map(largest).collect()
}

/// A share with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfidenceInterval {
    /// The share.
    pub share: f64,
    /// The least share that is compatible with it at 95 % (Wilson, 1927).
    pub low: f64,
    /// The greatest share that is compatible with it at 95 %.
    pub high: f64,
}

impl ConfidenceInterval {
    /// The share of `successes` in `trials`, with its interval.
    #[must_use]
    pub fn of(successes: usize, trials: usize) -> Self {
        if trials == 0 {
            return Self { share: 0.0, low: 0.0, high: 1.0 };
        }
        let (n, z) = (trials as f64, 1.959_963_985);
        let share = successes as f64 / n;
        let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        Self { share, low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
    }
}

/// The share of rows whose class is their label.
///
/// # Errors
/// If there is not one label for each row, or a label is not a class.
pub fn accuracy(logits: &[f32], labels: &[usize], classes: usize) -> Result<ConfidenceInterval> {
    check_labels(logits, labels, classes)?;
    let found = self::classes(logits, classes);
    let right = found.iter().zip(labels).filter(|(found, label)| found == label).count();
    Ok(ConfidenceInterval::of(right, labels.len()))
}

pub(super) fn check_labels(logits: &[f32], labels: &[usize], classes: usize) -> Result<()> {
    require!(
        classes > 0 && logits.len() == labels.len() * classes,
        "{} labels were given for {} rows: give one for each",
        labels.len(),
        logits.len() / classes.max(1)
    );
    if let Some(at) = labels.iter().position(|&label| label >= classes) {
        refuse!("label {at} is {}, but there are {classes} classes, 0 to {}", labels[at], classes - 1);
    }
    Ok(())
}

/// The calibration of confidence: confident predictions should be right as often as they claim.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibration {
    /// Expected calibration error: in 15 bins of confidence, |accuracy − mean confidence|, weighted by the number of rows in
    /// the bin (Guo et al., 2017, arXiv:1706.04599, eq. 3).
    pub expected_error: f64,
    /// Mean of the largest probability.
    pub confidence: f64,
    /// Mean of −ln of the label's probability, in nats.
    pub log_loss: f64,
}

/// Number of bins of confidence.
const BINS: usize = 15;

/// The calibration of the softmax of the logits.
///
/// # Errors
/// As [`accuracy`].
pub fn calibration(logits: &[f32], labels: &[usize], classes: usize) -> Result<Calibration> {
    check_labels(logits, labels, classes)?;
    let mut bins = [(0.0, 0.0, 0.0); BINS];
    let (mut sum, mut loss) = (0.0, 0.0);
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let (log, class) = (log_softmax(row), largest(row));
        let confidence = log[class].exp();
        sum += confidence;
        loss -= log[label];
        let bin = &mut bins[((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        *bin = (bin.0 + 1.0, bin.1 + confidence, bin.2 + f64::from(u8::from(class == label)));
    }
    let count = labels.len().max(1) as f64;
    let error = |&(_, confidence, right): &(f64, f64, f64)| (right - confidence).abs() / count;
    Ok(Calibration { expected_error: bins.iter().map(error).sum(), confidence: sum / count, log_loss: loss / count })
}
