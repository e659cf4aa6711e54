"""What all device backends share: streams, lanes, captures and cached readings. No framework is imported here."""
