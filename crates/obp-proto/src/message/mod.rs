//! Messages and structures of OBPQuery and of the service-connect protocol.
