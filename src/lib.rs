//! Step-up approval by touch: the text shown is the text a hardware token signs, and only what was
//! signed may run.
