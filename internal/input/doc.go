// Package input reads what a user asked for, from the runner's INPUT_*
// variables or from flags of the same names, and turns it into a request.
//
// An input is one row of the [Table], which is its only definition: action.yml,
// the README and the usage text are made from it. A [Fault] is an input that
// cannot be used. All faults are reported together, in an [*Error]. Nothing is
// contacted, and the value of a secret input is never shown.
package input
