"""SMPP 3.4: the codec (`pdu`), the text of messages (`text`) and the session with an SMSC (`session`)."""
