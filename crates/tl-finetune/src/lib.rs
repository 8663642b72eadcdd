//! What trains, at which rate, how long: Schedule to Plan of Phases.
