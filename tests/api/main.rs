//! API suite.
