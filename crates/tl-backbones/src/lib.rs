//! Pretrained nets as ordered, named stages.
