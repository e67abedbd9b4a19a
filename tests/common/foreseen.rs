//! Which branches of a program a driver can decide before it runs: those whose condition follows from uniforms, and from constants
//! maybe, but from nothing that differs between invocations or is read from a buffer. What is allowed is `shaders.rs`'s to say.
//!
//! A walk over naga's statements in the order in which they run. It knows of each local variable whether its value is foreseen, and
//! enters functions once for each way in which their arguments are. Counters of loops are foreseen as far as an end of the loop is.

use std::collections::{BTreeSet, HashMap};

use naga::{AddressSpace, Block, Expression, Function, Handle, Module, Statement};

/// What a driver knows of a value before a launch, from most to least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Known {
    /// While it compiles.
    Constant,
    /// When it sees the uniforms.
    Uniform,
    Never,
}

type Locals = HashMap<Handle<naga::LocalVariable>, Known>;

/// The conditions of branches that uniforms decide, each as `function: condition`.
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
    /// What functions return, for arguments of which this much is known, and whether what is found in them was kept.
    results: HashMap<(Handle<Function>, Vec<Known>, bool), Known>,
    found: BTreeSet<String>,
}

/// One call of a function.
struct Frame<'a> {
    function: &'a Function,
    arguments: Vec<Known>,
    locals: Locals,
    values: HashMap<Handle<Expression>, Known>,
    /// What is returned, each with what decides that it is.
    returned: Vec<Known>,
    /// The loops and switches around a statement.
    around: Vec<Around>,
    /// Whether what is found is kept: not while a loop is gone through to learn of its counters.
    reports: bool,
}

/// A loop or switch that is being walked.
struct Around {
    is_loop: bool,
    /// What decides that it ends, and the variables then.
    ends: Vec<(Known, Locals)>,
    /// The variables where the next turn begins.
    turns: Vec<Locals>,
    /// How much of what decides a statement belongs to what is around.
    outside: usize,
}

impl<'a> Walk<'a> {
    /// What a call returns.
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

    /// Walks statements that these conditions decide; says whether what follows them is reached.
    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block, deciding: &mut Vec<Known>) -> bool {
        for statement in block {
            let goes_on = match statement {
                Statement::Emit(range) => {
                    // A turn of a loop may have left what was known in the one before.
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
                // Their results are not foreseen, and they store into no local variable but matrices.
                _ => true,
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Walks one of several blocks, as a condition decides.
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
        // A single way is no choice between values.
        meet(frame, &reached, if reached.len() > 1 { known } else { Known::Constant }, &modified)
    }

    /// Walks a loop until no more is learnt of its variables, then once more to find conditions in it.
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
            // Where nothing that ends the loop is foreseen, neither is what a turn leaves to the next.
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

    /// Walks one turn: how it ends, and the variables where the next one begins.
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

    /// What is known of a condition, which is found if uniforms decide it.
    fn decides(&mut self, frame: &Frame<'a>, condition: Handle<Expression>) -> Known {
        let known = self.value(frame, condition);
        if known == Known::Uniform && frame.reports {
            let span = frame.function.expressions.get_span(condition).to_range().unwrap_or_default();
            let text = self.source[span].split_whitespace().collect::<Vec<_>>().join(" ");
            self.found.insert(format!("{}: {text}", frame.function.name.as_deref().unwrap_or("main")));
        }
        known
    }

    /// What is known of a value; of a pointer, what is known of the variable.
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

/// The number of components of a vector, elements of an array or members of a struct.
fn parts(module: &Module, ty: Handle<naga::Type>) -> usize {
    match &module.types[ty].inner {
        naga::TypeInner::Vector { size, .. } => *size as usize,
        naga::TypeInner::Array { size: naga::ArraySize::Constant(size), .. } => size.get() as usize,
        naga::TypeInner::Struct { members, .. } => members.len(),
        _ => 0,
    }
}

/// The local variable that a pointer points into, and whether at all of it.
fn target(function: &Function, pointer: Handle<Expression>) -> Option<(Handle<naga::LocalVariable>, bool)> {
    match function.expressions[pointer] {
        Expression::LocalVariable(local) => Some((local, true)),
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
            target(function, base).map(|(local, _)| (local, false))
        }
        _ => None,
    }
}

/// The local variables that a block may change.
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

/// The least that is known of each variable.
fn join(mut locals: Locals, others: &[Locals]) -> Locals {
    for (local, known) in &mut locals {
        *known = others.iter().map(|other| other[local]).fold(*known, Known::max);
    }
    locals
}

/// What is known where ways meet, and whether there is any: of variables that were modified on them no more than of the condition
/// that has decided which way was taken.
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
