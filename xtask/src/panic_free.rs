//! Which functions that a guest can reach may panic: read from the object code, so that what the optimizer has proved
//! impossible does not count, and what nobody thought of does.

mod allowed;
mod code;
mod search;

pub use allowed::Allowed;
pub use code::Code;
pub use search::{Reached, search};
