//! The scenarios of record and replay in an image without it.

use super::{Outcome, Reason};

fn skipped() -> Outcome {
    Err(Reason::Skipped("the image is built without the feature `replay`".into()))
}

/// Nothing.
pub fn long() -> Outcome {
    skipped()
}

/// Nothing.
pub fn real() -> Outcome {
    skipped()
}

/// Nothing.
pub fn local_apic() -> Outcome {
    skipped()
}
