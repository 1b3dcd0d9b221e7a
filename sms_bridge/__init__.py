"""The SMS service on shortcode 7000: a client of the hub that speaks SMPP 3.4 to the mobile operators."""
