//! The cryptography that the protocol names, behind one provider trait.
