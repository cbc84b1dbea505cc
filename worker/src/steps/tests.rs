//! The steps over scripted entries.
