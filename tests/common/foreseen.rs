//! Branches of a program that a driver can decide before a launch: their conditions depend on uniforms, and possibly on constants,
//! but on nothing that differs between invocations or is read from a buffer. `shaders.rs` decides which of them are allowed.
//!
//! The walk follows naga's statements in execution order. It tracks how early each local variable's value is known. It enters a
//! function once per combination of known arguments. A loop counter is known as early as one of the loop's exits.

use std::collections::{BTreeSet, HashMap};

use naga::{AddressSpace, Block, Expression, Function, Handle, Module, Statement};

/// Time at which a driver knows a value, from earliest to latest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Known {
    /// At compile time.
    Constant,
    /// With the uniforms, before the launch.
    Uniform,
    Never,
}

type Locals = HashMap<Handle<naga::LocalVariable>, Known>;

/// Conditions of branches that uniforms decide, each as `function: condition`.
pub(crate) fn conditions(module: &Module, source: &str) -> BTreeSet<String> {
    let mut walk = Walk { module, source, results: HashMap::new(), found: BTreeSet::new() };
    for entry in &module.entry_points {
        walk.call(&entry.function, &vec![Known::Never; entry.function.arguments.len()], true);
    }
    walk.found
}

struct Walk<'a> {
    module: &'a Module,
    source: &'a str,
    /// Known level of the return value by function, known levels of the arguments, and `reports` of the call.
    results: HashMap<(Handle<Function>, Vec<Known>, bool), Known>,
    found: BTreeSet<String>,
}

/// One call of a function.
struct Frame<'a> {
    function: &'a Function,
    arguments: Vec<Known>,
    locals: Locals,
    values: HashMap<Handle<Expression>, Known>,
    /// Known levels of the returned values, joined with the levels of the conditions that lead to the return.
    returned: Vec<Known>,
    /// Loops and switches around a statement.
    around: Vec<Around>,
    /// True if found conditions are kept; false while a loop is walked to learn about its counters.
    reports: bool,
}

/// A loop or switch that is being walked.
struct Around {
    is_loop: bool,
    /// For each exit: the known level of its conditions, and the variables there.
    ends: Vec<(Known, Locals)>,
    /// Variables at each start of a next iteration.
    turns: Vec<Locals>,
    /// Number of `deciding` conditions that belong to the code outside.
    outside: usize,
}

impl<'a> Walk<'a> {
    /// Known level of a call's return value.
    fn call(&mut self, function: &'a Function, arguments: &[Known], reports: bool) -> Known {
        let mut frame = Frame {
            function,
            arguments: arguments.to_vec(),
            locals: function.local_variables.iter().map(|(local, _)| (local, Known::Constant)).collect(),
            values: HashMap::new(),
            returned: Vec::new(),
            around: Vec::new(),
            reports,
        };
        self.block(&mut frame, &function.body, &mut Vec::new());
        frame.returned.into_iter().max().unwrap_or(Known::Constant)
    }

    /// Walks the statements of a block under the `deciding` conditions. True if the statement after the block is reached.
    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, deciding: &mut Vec<Known>) -> bool {
        for statement in block {
            let goes_on = match statement {
                Statement::Emit(range) => {
                    // An iteration must not reuse values of the previous iteration.
                    frame.values.retain(|expression, _| !range.clone().any(|emitted| emitted == *expression));
                    for expression in range.clone() {
                        let known = self.value(frame, expression);
                        frame.values.insert(expression, known);
                    }
                    true
                }
                Statement::Block(block) => self.block(frame, block, deciding),
                Statement::If { condition, accept, reject } => {
                    let known = self.decides(frame, *condition);
                    self.branches(frame, known, &[accept, reject], deciding)
                }
                Statement::Switch { selector, cases } => {
                    let known = self.decides(frame, *selector);
                    assert!(
                        cases.iter().all(|case| !case.fall_through || case.body.is_empty()),
                        "WGSL has no fall-through"
                    );
                    let bodies: Vec<_> =
                        cases.iter().filter(|case| !case.fall_through).map(|case| &case.body).collect();
                    let outside = deciding.len();
                    frame.around.push(Around { is_loop: false, ends: Vec::new(), turns: Vec::new(), outside });
                    let reached = self.branches(frame, known, &bodies, deciding);
                    let ends = frame.around.pop().expect("the switch").ends;
                    let reached = reached.then(|| frame.locals.clone());
                    let ways: Vec<_> = ends.into_iter().map(|(_, locals)| locals).chain(reached).collect();
                    let modified = bodies.iter().flat_map(|body| assigned(frame.function, body)).collect();
                    meet(frame, &ways, known, &modified)
                }
                Statement::Loop { body, continuing, break_if } => {
                    self.turns(frame, body, continuing, *break_if, deciding)
                }
                Statement::Break => {
                    let around = frame.around.last_mut().expect("something to break out of");
                    let known = deciding[around.outside..].iter().copied().max().unwrap_or(Known::Constant);
                    around.ends.push((known, frame.locals.clone()));
                    false
                }
                Statement::Continue => {
                    let around = frame.around.iter_mut().rfind(|around| around.is_loop).expect("a loop");
                    around.turns.push(frame.locals.clone());
                    false
                }
                Statement::Return { value } => {
                    let value = value.map_or(Known::Constant, |value| self.value(frame, value));
                    frame.returned.push(deciding.iter().copied().fold(value, Known::max));
                    false
                }
                Statement::Store { pointer, value } => {
                    let known = self.value(frame, *value);
                    if let Some((local, whole)) = target(frame.function, *pointer) {
                        let before = if whole { known } else { frame.locals[&local] };
                        frame.locals.insert(local, known.max(before));
                    }
                    true
                }
                Statement::Call { function, arguments, result } => {
                    let arguments_known: Vec<_> =
                        arguments.iter().map(|&argument| self.value(frame, argument)).collect();
                    let key = (*function, arguments_known, frame.reports);
                    let known = match self.results.get(&key) {
                        Some(&known) => known,
                        None => {
                            let known = self.call(&self.module.functions[*function], &key.1, frame.reports);
                            self.results.insert(key, known);
                            known
                        }
                    };
                    for (local, _) in arguments.iter().filter_map(|&argument| target(frame.function, argument)) {
                        frame.locals.insert(local, Known::Never);
                    }
                    frame.values.extend(result.map(|result| (result, known)));
                    true
                }
                // The results of other statements are `Never` known, and they store into no local variables except matrices.
                _ => true,
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Walks several blocks, one of which runs as a condition of level `known` decides.
    fn branches(
        &mut self,
        frame: &mut Frame<'a>,
        known: Known,
        blocks: &[&'a Block],
        deciding: &mut Vec<Known>,
    ) -> bool {
        let before = frame.locals.clone();
        deciding.push(known);
        let mut reached = Vec::new();
        for block in blocks {
            frame.locals = before.clone();
            if self.block(frame, block, deciding) {
                reached.push(frame.locals.clone());
            }
        }
        deciding.pop();
        let modified = blocks.iter().flat_map(|block| assigned(frame.function, block)).collect();
        // A single reached block is no choice between values.
        meet(frame, &reached, if reached.len() > 1 { known } else { Known::Constant }, &modified)
    }

    /// Walks a loop until the levels of its variables no longer change, then once more to find its conditions.
    fn turns(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
        deciding: &mut Vec<Known>,
    ) -> bool {
        let modified: BTreeSet<_> =
            assigned(frame.function, body).into_iter().chain(assigned(frame.function, continuing)).collect();
        let mut begin = frame.locals.clone();
        let reports = frame.reports;
        frame.reports = false;
        loop {
            let (ends, next) = self.turn(frame, &begin, body, continuing, break_if, deciding);
            let mut joined = join(begin.clone(), &next);
            // If no exit is known before the launch, the values that an iteration leaves to the next are unknown too.
            if ends.iter().all(|(known, _)| *known == Known::Never) {
                joined.extend(modified.iter().map(|&local| (local, Known::Never)));
            }
            if joined == begin {
                break;
            }
            begin = joined;
        }
        frame.reports = reports;
        let (ends, _) = self.turn(frame, &begin, body, continuing, break_if, deciding);
        let known = ends.iter().map(|(known, _)| *known).max().unwrap_or(Known::Constant);
        meet(frame, &ends.into_iter().map(|(_, locals)| locals).collect::<Vec<_>>(), known, &modified)
    }

    /// Walks one iteration. Returns its exits, and the variables at the start of the next iteration.
    fn turn(
        &mut self,
        frame: &mut Frame<'a>,
        begin: &Locals,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
        deciding: &mut Vec<Known>,
    ) -> (Vec<(Known, Locals)>, Vec<Locals>) {
        frame.locals = begin.clone();
        frame.around.push(Around { is_loop: true, ends: Vec::new(), turns: Vec::new(), outside: deciding.len() });
        let reached = self.block(frame, body, deciding);
        let mut around = frame.around.pop().expect("the loop");
        around.turns.extend(reached.then(|| frame.locals.clone()));
        let Some(first) = around.turns.first().cloned() else { return (around.ends, Vec::new()) };
        frame.locals = join(first, &around.turns);
        self.block(frame, continuing, deciding);
        if let Some(condition) = break_if {
            let known = self.decides(frame, condition);
            around.ends.push((known, frame.locals.clone()));
        }
        (around.ends, vec![frame.locals.clone()])
    }

    /// Known level of a condition. It is recorded if uniforms decide it.
    fn decides(&mut self, frame: &Frame<'a>, condition: Handle<Expression>) -> Known {
        let known = self.value(frame, condition);
        if known == Known::Uniform && frame.reports {
            let span = frame.function.expressions.get_span(condition).to_range().unwrap_or_default();
            let text = self.source[span].split_whitespace().collect::<Vec<_>>().join(" ");
            self.found.insert(format!("{}: {text}", frame.function.name.as_deref().unwrap_or("main")));
        }
        known
    }

    /// Known level of a value; for a pointer, of the variable.
    fn value(&self, frame: &Frame<'a>, expression: Handle<Expression>) -> Known {
        if let Some(&known) = frame.values.get(&expression) {
            return known;
        }
        let all = |values: &[Handle<Expression>]| {
            values.iter().map(|&value| self.value(frame, value)).max().unwrap_or(Known::Constant)
        };
        match &frame.function.expressions[expression] {
            Expression::Literal(_) | Expression::Constant(_) | Expression::Override(_) | Expression::ZeroValue(_) => {
                Known::Constant
            }
            Expression::FunctionArgument(index) => frame.arguments[*index as usize],
            Expression::LocalVariable(local) => frame.locals[local],
            Expression::GlobalVariable(global) => match self.module.global_variables[*global].space {
                AddressSpace::Uniform => Known::Uniform,
                _ => Known::Never,
            },
            Expression::Load { pointer: value }
            | Expression::Splat { value, .. }
            | Expression::Swizzle { vector: value, .. }
            | Expression::Unary { expr: value, .. }
            | Expression::Relational { argument: value, .. }
            | Expression::As { expr: value, .. } => self.value(frame, *value),
            Expression::AccessIndex { base, index } => match &frame.function.expressions[*base] {
                Expression::Compose { components, ty } if components.len() == parts(self.module, *ty) => {
                    self.value(frame, components[*index as usize])
                }
                _ => self.value(frame, *base),
            },
            Expression::Compose { components, .. } => all(components),
            Expression::Access { base, index } => all(&[*base, *index]),
            Expression::Binary { left, right, .. } => all(&[*left, *right]),
            Expression::Select { condition, accept, reject } => all(&[*condition, *accept, *reject]),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                all(&[Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().collect::<Vec<_>>())
            }
            _ => Known::Never,
        }
    }
}

/// Number of components of a vector, elements of an array or members of a struct.
fn parts(module: &Module, ty: Handle<naga::Type>) -> usize {
    match &module.types[ty].inner {
        naga::TypeInner::Vector { size, .. } => *size as usize,
        naga::TypeInner::Array { size: naga::ArraySize::Constant(size), .. } => size.get() as usize,
        naga::TypeInner::Struct { members, .. } => members.len(),
        _ => 0,
    }
}

/// The local variable that a pointer points into; true if it points to the whole variable.
fn target(function: &Function, pointer: Handle<Expression>) -> Option<(Handle<naga::LocalVariable>, bool)> {
    match function.expressions[pointer] {
        Expression::LocalVariable(local) => Some((local, true)),
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
            target(function, base).map(|(local, _)| (local, false))
        }
        _ => None,
    }
}

/// Local variables that a block may change.
fn assigned(function: &Function, block: &Block) -> BTreeSet<Handle<naga::LocalVariable>> {
    let mut found = BTreeSet::new();
    for statement in block {
        match statement {
            Statement::Store { pointer, .. } => found.extend(target(function, *pointer).map(|(local, _)| local)),
            Statement::Call { arguments, .. } => {
                found.extend(
                    arguments.iter().filter_map(|&argument| target(function, argument)).map(|(local, _)| local),
                );
            }
            Statement::Block(block) => found.extend(assigned(function, block)),
            Statement::If { accept, reject, .. } => {
                found.extend(assigned(function, accept));
                found.extend(assigned(function, reject));
            }
            Statement::Switch { cases, .. } => {
                found.extend(cases.iter().flat_map(|case| assigned(function, &case.body)));
            }
            Statement::Loop { body, continuing, .. } => {
                found.extend(assigned(function, body));
                found.extend(assigned(function, continuing));
            }
            _ => {}
        }
    }
    found
}

/// Latest known level of each variable.
fn join(mut locals: Locals, others: &[Locals]) -> Locals {
    for (local, known) in &mut locals {
        *known = others.iter().map(|other| other[local]).fold(*known, Known::max);
    }
    locals
}

/// Joins the variables where paths meet; false if there is no path. A variable modified on a path is known no earlier than the
/// condition that chose the path.
fn meet(
    frame: &mut Frame<'_>,
    ways: &[Locals],
    known: Known,
    modified: &BTreeSet<Handle<naga::LocalVariable>>,
) -> bool {
    let Some(first) = ways.first() else { return false };
    frame.locals = join(first.clone(), ways);
    for local in modified {
        let value = frame.locals.get_mut(local).expect("a variable of the function");
        *value = known.max(*value);
    }
    true
}
