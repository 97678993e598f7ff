//! The client's machine: chooses an instance, asks over UDP, then HTTP, and verifies the answer.
