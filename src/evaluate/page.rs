//! A report as an HTML page: tables, and plots in SVG. Equal reports give equal pages, byte for byte. `report` computes the
//! content.

use std::fmt::{Display, Write};
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{Histogram, Report};
use crate::error::{Error, Result};

const FLOAT: RGBColor = RGBColor(0x3b, 0x6e, 0xa5);
const QUANTIZED: RGBColor = RGBColor(0xd5, 0x6a, 0x2c);
const LIGHT: RGBColor = RGBColor(0xee, 0xc4, 0xab);
const FAINT: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
const INK: RGBColor = RGBColor(0x44, 0x44, 0x44);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:1080px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .6rem;border-bottom:1px solid #ddd}\
p{color:#555;margin:.3rem 0}table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.2rem .9rem .2rem 0;text-align:right}\
td:first-child,th:first-child{text-align:left}tr+tr td{border-top:1px solid #eee}th{color:#555;font-weight:600}\
.row{display:flex;flex-wrap:wrap;gap:14px;align-items:flex-start}summary{color:#555;cursor:pointer;margin:.6rem 0}.row table{margin-right:3rem}b.f{color:#3b6ea5}b.q{color:#d56a2c}svg{max-width:100%;height:auto}";

impl Report {
    /// The report as one HTML document without scripts or external resources.
    ///
    /// # Errors
    /// If a plot can't be drawn.
    pub fn to_html(&self) -> Result<String> {
        let mut page = Page(String::new());
        let title = escaped(&self.title);
        page.add("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
        page.add(&title);
        page.add(&format!("</title><style>{STYLE}</style></head><body><h1>{title}</h1>"));
        page.add(&format!(
            "<p>{} rows; <b class=\"f\">float32</b> against <b class=\"q\">quantized</b>, which ran on {}.</p>",
            self.rows,
            escaped(&self.device)
        ));
        page.add("<div class=\"row\">");
        let summary = self.summary().into_iter().map(|(name, float, quantized)| vec![name, float, quantized]);
        page.table(&["", "float", "quantized"], summary);
        page.table(&["outputs", ""], self.output_errors().into_iter().map(|(name, value)| vec![name.into(), value]));
        page.add("</div>");

        page.add(
            "<h2>Layers</h2><p>Signal to quantization noise of what each layer makes, all earlier errors included \
                  (dark), and of its weights alone (light). More is better; 6 dB are a bit.</p>",
        );
        page.picture((1040, 280), |area| self.draw_layers(area))?;
        page.add("<h2>Outputs</h2><p>Errors of all outputs, quantized minus float; how many have each.</p>");
        page.picture((1040, 220), |area| draw_histogram(area, "", &self.errors, QUANTIZED))?;
        page.add("<h2>Weights</h2><p>The original's weights, and below what quantization changed, in units of their root mean \
                  square.</p><div class=\"row\">");
        for layer in &self.layers {
            if let Some((values, errors)) = layer.weight_values.as_ref().zip(layer.weight_errors.as_ref()) {
                let codes = layer.codes.map_or_else(String::new, |codes| format!(", {codes}"));
                let name = format!("{}{codes}", layer.name);
                page.picture((196, 280), |area| {
                    let (upper, lower) = area.split_vertically(150);
                    draw_histogram(&upper, &name, values, FLOAT)?;
                    draw_histogram(&lower, "", errors, QUANTIZED)
                })?;
            }
        }
        page.add("</div>");
        if !self.robustness.is_empty() {
            let what = if self.float.accuracy.is_some() { "Accuracy" } else { "Agreement of the two models" };
            page.add(&format!(
                "<h2>Robustness</h2><p>{what} on changed inputs, in percent. Where the blue line falls too, the change is to \
                 blame, not quantization.</p><div class=\"row\">"
            ));
            let mut kinds: Vec<&str> = Vec::new();
            for line in &self.robustness {
                let (kind, _) = line.perturbation.describe();
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            for kind in kinds {
                page.picture((335, 230), |area| self.draw_robustness(area, kind))?;
            }
            page.add("</div>");
        }
        if !self.alternatives.is_empty() {
            page.add("<h2>Alternatives</h2><p>Other ways to quantize the same model: bytes of weights against the error of the \
                      outputs. On the line are those that no other beats in both; this one has a ring.</p>");
            page.picture((1040, 360), |area| self.draw_alternatives(area))?;
            let percent =
                |share: Option<f64>| share.map_or_else(String::new, |share| format!("{:.2} %", 100.0 * share));
            let rows = self.alternatives.iter().map(|a| {
                vec![a.name.clone(), a.weight_bytes.to_string(), format!("{:.2}", a.sqnr_db), percent(a.accuracy)]
            });
            page.add("<details><summary>The same in numbers</summary>");
            page.table(&["", "bytes", "SQNR, dB", "accuracy"], rows);
            page.add("</details>");
        }
        page.add("<h2>Notes</h2><p>Energy is an estimate from counts of operations and bytes by the table of Horowitz (ISSCC \
                  2014, 45 nm), with every byte from DRAM. Accuracy intervals are Wilson's, 95 %.</p></body></html>\n");
        Ok(page.0)
    }

    fn draw_layers(&self, area: &Area) -> Drawn {
        let all = self.layers.iter().flat_map(|layer| {
            [Some(layer.outputs), layer.weights].into_iter().flatten().map(|metrics| drawn(metrics.sqnr_db))
        });
        let (low, high) = all.fold((0.0f64, 1.0f64), |(l, h), v| (l.min(v), h.max(v)));
        let names: Vec<&str> = self.layers.iter().map(|layer| layer.name.as_str()).collect();
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(26)
            .y_label_area_size(48)
            .build_cartesian_2d(-0.5..names.len() as f64 - 0.5, low * 1.1..high * 1.15)?;
        let name = |x: &f64| match x.round() {
            at if (x - at).abs() < 0.01 && at >= 0.0 => names.get(at as usize).copied().unwrap_or("").to_string(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .x_labels(2 * names.len() + 1)
            .x_label_formatter(&name)
            .y_desc("dB")
            .y_label_formatter(&|y| format!("{y:.0}"))
            .draw()?;
        for (i, layer) in self.layers.iter().enumerate() {
            let bars = [(Some(layer.outputs), -0.32, QUANTIZED), (layer.weights, 0.02, LIGHT)];
            for (metrics, at, color) in bars {
                let Some(metrics) = metrics else { continue };
                let (x, height) = (i as f64 + at, drawn(metrics.sqnr_db));
                chart.draw_series([Rectangle::new([(x, 0.0), (x + 0.3, height)], color.filled())])?;
                let label =
                    if metrics.sqnr_db.is_finite() { format!("{:.1}", metrics.sqnr_db) } else { "exact".into() };
                let style = ("sans-serif", 13).into_font().color(&INK);
                chart.draw_series([Text::new(label, (x + 0.07, height.max(0.0) + (high - low) * 0.08), style)])?;
            }
        }
        Ok(())
    }

    fn draw_robustness(&self, area: &Area, kind: &str) -> Drawn {
        let mut points: Vec<(f64, Option<f64>, f64)> = Vec::new();
        for line in self.robustness.iter().filter(|line| line.perturbation.describe().0 == kind) {
            let quantized = line.quantized.map_or(line.agreement, |interval| interval.share);
            let strength = drawn(line.perturbation.describe().1);
            points.push((strength, line.float.map(|interval| interval.share), quantized));
            let neutral = line.perturbation.neutral();
            if points.iter().all(|point| point.0 != neutral) {
                let clean = self.quantized.accuracy.map_or(self.outputs.agreement, |interval| interval.share);
                points.push((neutral, self.float.accuracy.map(|interval| interval.share), clean));
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let range = extended(points.iter().map(|point| point.0));
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .caption(kind, ("sans-serif", 15).into_font().color(&INK))
            .x_label_area_size(24)
            .y_label_area_size(36)
            .build_cartesian_2d(range, 0.0..103.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .draw()?;
        let percent = |share: f64| 100.0 * drawn(share).clamp(0.0, 1.0);
        let float: Vec<(f64, f64)> = points.iter().filter_map(|p| Some((p.0, percent(p.1?)))).collect();
        let quantized: Vec<(f64, f64)> = points.iter().map(|p| (p.0, percent(p.2))).collect();
        for (line, color) in [(float, FLOAT), (quantized, QUANTIZED)] {
            chart.draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?;
            chart.draw_series(line.iter().map(|&point| Circle::new(point, 3, color.filled())))?;
        }
        Ok(())
    }

    fn draw_alternatives(&self, area: &Area) -> Drawn {
        let mut points: Vec<(f64, f64)> =
            self.alternatives.iter().map(|a| (a.weight_bytes as f64, drawn(a.sqnr_db))).collect();
        let own = (self.quantized.cost.weight_bytes as f64, drawn(self.outputs.sqnr_db));
        let x = extended(points.iter().chain([&own]).map(|point| point.0));
        let y = extended(points.iter().chain([&own]).map(|point| point.1));
        let mut chart =
            ChartBuilder::on(area).margin(8).x_label_area_size(40).y_label_area_size(48).build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .x_desc("bytes of weights")
            .y_desc("SQNR of the outputs, dB")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .draw()?;
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut front: Vec<(f64, f64)> = Vec::new();
        for point in &points {
            if front.last().is_none_or(|last| point.1 > last.1) {
                front.push(*point);
            }
        }
        chart.draw_series(LineSeries::new(front, FLOAT.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, FLOAT.filled())))?;
        chart.draw_series([Circle::new(own, 7, QUANTIZED.stroke_width(3))])?;
        Ok(())
    }
}

/// The number to draw for a value: 0 for infinity and NaN, and at most 1e50 in magnitude, so that no axis overflows.
fn drawn(value: f64) -> f64 {
    if value.is_finite() { value.clamp(-1e50, 1e50) } else { 0.0 }
}

/// A range slightly wider than the values, and wide enough that its ticks differ.
fn extended(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let least = low.abs().max(high.abs()) * 1e-6;
    let more = if high - low > least { (high - low) * 0.06 } else { least.max(0.5) };
    if low.is_finite() { low - more..high + more } else { 0.0..1.0 }
}

fn draw_histogram(area: &Area, name: &str, histogram: &Histogram, color: RGBColor) -> Drawn {
    let most = histogram.counts().iter().copied().max().unwrap_or(0).max(1) as f64;
    // A range that is too narrow to draw, also after its far ends are clamped, becomes −0.5 to 0.5.
    let ends = histogram.ends();
    let (low, high) = (drawn(ends.0), drawn(ends.1));
    let (low, high) = if high - low > low.abs().max(high.abs()) * 1e-12 { (low, high) } else { (-0.5, 0.5) };
    let mut builder = ChartBuilder::on(area);
    builder.margin(6).margin_right(14).x_label_area_size(22).y_label_area_size(40);
    if !name.is_empty() {
        builder.caption(name, ("sans-serif", 14).into_font().color(&INK));
    }
    let mut chart = builder.build_cartesian_2d(low..high, 0.0..most * 1.08)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_labels(4)
        .y_labels(4)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let width = (high - low) / histogram.counts().len() as f64;
    chart.draw_series(histogram.counts().iter().enumerate().filter(|(_, count)| **count > 0).map(|(i, &count)| {
        let left = low + i as f64 * width;
        Rectangle::new([(left, 0.0), (left + width, count as f64)], color.filled())
    }))?;
    Ok(())
}

/// The label of a number on an axis, without needless digits.
fn short(value: f64) -> String {
    let text = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".into() } else { text.to_string() }
}

fn escaped(text: impl Display) -> String {
    text.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A growing HTML document.
struct Page(String);

impl Page {
    fn add(&mut self, html: &str) {
        self.0.push_str(html);
    }

    fn table(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        self.add("<table><tr>");
        for cell in head {
            let _ = write!(self.0, "<th>{}</th>", escaped(cell));
        }
        self.add("</tr>");
        for row in rows {
            self.add("<tr>");
            for cell in row {
                let _ = write!(self.0, "<td>{}</td>", escaped(cell));
            }
            self.add("</tr>");
        }
        self.add("</table>");
    }

    fn picture(&mut self, size: (u32, u32), draw: impl FnOnce(&Area) -> Drawn) -> Result<()> {
        let failed = |error: &dyn Display| Error::Request(format!("a picture can't be drawn: {error}"));
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            draw(&area).map_err(|error| failed(&error))?;
            area.present().map_err(|error| failed(&error))?;
        }
        self.add(&svg);
        Ok(())
    }
}
