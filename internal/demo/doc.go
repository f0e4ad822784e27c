// Package demo is a guided run of the product on registries of its own: what a
// user would see in a job, without a network, Docker or an account.
package demo
