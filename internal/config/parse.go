package config

import "errors"

// Parse reads a config file; path stands in its errors, which are an [*Error]
// with every fault.
func Parse(path string, raw []byte) (*Config, error) { return nil, errors.New(path) }

// Fault is one thing that is wrong with a config file.
type Fault struct {
	Line, Column int    // from 1; 0: the file as a whole
	Given        string // the offending text in quotes, and what is wrong with it
	Expected     string // what was expected
	Source       string // the offending line as it is in the file, escaped; may be empty
}

// Error is everything that is wrong with a config file, by line.
type Error struct {
	Path   string
	Faults []Fault
}

func (e *Error) Error() string { return e.Path }
