//! Features to predictions: pooling and dense heads.
