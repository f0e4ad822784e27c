// Package document holds what the program says about a promotion as plain
// values with a stable JSON form: what was asked, what was found, what each tag
// was and is. It is a leaf: it does nothing and imports nothing of ours.
package document
