// Package gate decides whether an image may go to an environment. A gate is a
// condition of the config; a verdict is what it says about one promotion, and
// why. Everything here is a pure function of a policy, which the config holds,
// and of evidence, which the caller has gathered: nothing is asked of anybody.
//
// A gate that cannot be judged says so: an error is not a pass.
package gate
