// Package config reads the file of environments and their gates, promotion.yml.
// It is strict: what it does not know, or knows twice, is an error with its line,
// its column and what was expected, and all errors are found at once.
package config
