//! What is printed: a line for people and a line for programs.

/// The results of one scenario.
pub struct Report {
    name: &'static str,
    facts: Vec<(&'static str, &'static str, f64)>,
}

impl Report {
    pub fn new(name: &'static str) -> Report {
        Report { name, facts: Vec::new() }
    }

    /// A number: what it is called, its unit.
    pub fn add(&mut self, name: &'static str, unit: &'static str, value: f64) {
        if value.is_finite() {
            self.facts.push((name, unit, value));
        }
    }

    /// The number of this name.
    #[allow(dead_code)]
    pub fn fact(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|fact| fact.0 == name).map(|fact| fact.2)
    }

    pub fn print(&self) {
        let facts =
            |(name, unit, value): &(&str, &str, f64)| format!("{} {}{unit}", name.replace('_', " "), short(*value));
        println!("{}: {}", self.name, self.facts.iter().map(facts).collect::<Vec<_>>().join(", "));
        let pairs: String = self.facts.iter().map(|(name, _, value)| format!(",\"{name}\":{value}")).collect();
        println!("{{\"scenario\":\"{}\"{pairs}}}", self.name);
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v.fract() == 0.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Times, counted in steps of less than two per cent.
pub struct Times {
    counts: Vec<u64>,
    total: u64,
    most: u64,
}

const STEPS: u64 = 64;

impl Times {
    pub fn new() -> Times {
        Times { counts: vec![0; 64 * STEPS as usize], total: 0, most: 0 }
    }

    /// Nanoseconds.
    pub fn add(&mut self, ns: u64) {
        self.counts[Times::step(ns)] += 1;
        self.total += 1;
        self.most = self.most.max(ns);
    }

    fn step(ns: u64) -> usize {
        let power = u64::from((ns | STEPS).ilog2()) - 6;
        (power * STEPS + (ns >> power)) as usize
    }

    fn least(step: usize) -> u64 {
        let step = step as u64;
        if step < 2 * STEPS { step } else { ((step % STEPS) + STEPS) << (step / STEPS - 1) }
    }

    /// The time that a part of them needed at most, in milliseconds.
    pub fn ms(&self, part: f64) -> f64 {
        let mut left = (self.total as f64 * part).ceil() as u64;
        for (step, count) in self.counts.iter().enumerate() {
            if *count >= left {
                return Times::least(step) as f64 / 1e6;
            }
            left -= count;
        }
        self.most as f64 / 1e6
    }

    pub fn report(&self, report: &mut Report) {
        if self.total > 0 {
            report.add("p50_ms", " ms", self.ms(0.5));
            report.add("p95_ms", " ms", self.ms(0.95));
            report.add("p99_ms", " ms", self.ms(0.99));
            report.add("max_ms", " ms", self.most as f64 / 1e6);
        }
    }
}

/// Sees whether each line of numbers arrives whole, once, and in order.
pub struct Lines {
    next: Vec<u32>,
    missing: std::collections::HashSet<(u32, u32)>,
    pub arrived: u64,
    pub twice: u64,
    pub disorder: u64,
}

impl Lines {
    pub fn new(lines: usize) -> Lines {
        Lines { next: vec![0; lines], missing: Default::default(), arrived: 0, twice: 0, disorder: 0 }
    }

    /// Whether it is new.
    pub fn arrive(&mut self, line: u32, number: u32) -> bool {
        let next = &mut self.next[line as usize];
        if number >= *next {
            self.missing.extend((*next..number).map(|gone| (line, gone)));
            *next = number + 1;
        } else if self.missing.remove(&(line, number)) {
            self.disorder += 1;
        } else {
            self.twice += 1;
            return false;
        }
        self.arrived += 1;
        true
    }

    pub fn report(&self, report: &mut Report, sent: u64) {
        report.add("lost", "", sent.saturating_sub(self.arrived) as f64);
        report.add("twice", "", self.twice as f64);
        report.add("disorder", "", self.disorder as f64);
    }
}
