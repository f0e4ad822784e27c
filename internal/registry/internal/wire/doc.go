// Package wire sends requests to the hosts of registries: transports, slots, throttling,
// time limits, allowed destinations, and answers that are bounded and diagnosed.
package wire
