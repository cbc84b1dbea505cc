//! Planning as behaviour: state and event in, tasks out.
