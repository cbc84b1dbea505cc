//! e2e suite.
