//! Operators come and go.

use model::{OperatorName, Timestamp};

use super::{Answered, Happened, check};
use crate::cluster::{Cluster, Outcome, Rejection, limits, operator::is_reserved};

impl Cluster {
    pub(super) fn add_operator(&mut self, at: Timestamp, name: &OperatorName) -> Answered {
        if is_reserved(name.as_str()) {
            return Err(Rejection::OperatorReserved(name.clone()));
        }
        if self.operators.contains_key(name) || self.shuts_out_operator(name.as_str()) {
            let removed = !self.operators.contains_key(name);
            return Err(Rejection::OperatorTaken { name: name.clone(), removed });
        }
        let count = self.operators.len().saturating_add(1);
        check::at_most("operators", count, limits::MAX_OPERATORS)?;
        self.operators.insert(name.clone(), at);
        self.note(Happened::new(at, "operator", format!("operator {name} was added")));
        Ok(Outcome::Done)
    }

    pub(super) fn remove_operator(&mut self, at: Timestamp, name: &OperatorName) -> Answered {
        if self.shuts_out_operator(name.as_str()) {
            return Ok(Outcome::Unchanged);
        }
        let own = self.own_operator() == name.as_str();
        if !own && !self.operators.contains_key(name) {
            return Err(Rejection::UnknownOperator(name.clone()));
        }
        if own && self.operators.is_empty() {
            return Err(Rejection::LastOperator(name.clone()));
        }
        let count = self.removed_operators.len().saturating_add(1);
        check::at_most("removed operators", count, limits::MAX_REMOVED_OPERATORS)?;
        self.operators.remove(name);
        self.removed_operators.insert(name.clone());
        self.note(Happened::new(at, "operator", format!("operator {name} was removed")).warning());
        Ok(Outcome::Done)
    }
}
