//! What is refused, what is kept, what is written.
