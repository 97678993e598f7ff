//! The broker's machine: authenticates what arrives, hands queries to the application, seals what goes back.
