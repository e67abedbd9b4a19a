//! Lists of candidates, each made once while a graph is planned: fusion, memory and launches share them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::kernels::{self, Candidate, DeviceCaps};
use crate::ops::Op;

type Known = HashMap<*const Op, (Arc<Op>, Rc<[Candidate]>)>;

/// The candidates of the ops of a graph, on one device.
pub(crate) struct CandidateLists<'a> {
    pub(crate) caps: &'a DeviceCaps,
    /// By the address of the op, which each entry keeps alive.
    known: RefCell<Known>,
}

impl<'a> CandidateLists<'a> {
    pub(crate) fn new(caps: &'a DeviceCaps) -> Self {
        Self { caps, known: RefCell::default() }
    }

    /// The candidates of an op. They are remembered.
    pub(super) fn of(&self, op: &Arc<Op>) -> Rc<[Candidate]> {
        if let Some((_, list)) = self.known.borrow().get(&Arc::as_ptr(op)) {
            return list.clone();
        }
        let list = self.once(op);
        self.known.borrow_mut().insert(Arc::as_ptr(op), (op.clone(), list.clone()));
        list
    }

    /// The candidates of an op that is not asked for again. They are not remembered.
    pub(super) fn once(&self, op: &Op) -> Rc<[Candidate]> {
        kernels::candidates(op, self.caps).into()
    }
}
