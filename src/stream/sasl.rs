//! SASL on the server side: SCRAM with channel binding and its downgrade check, and PLAIN where it is allowed.
