"""One model behind one API: an answer streams as it is made, and stops being made when its caller leaves."""
