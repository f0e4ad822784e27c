// Command distribution serves the reference registry on a free port of loopback.
//
// It prints its address as the first line and ends when its standard input is closed, so that it never outlives
// the program that started it. What it answers to lines on standard input is in regtest.Registry.Converse.
//
// It is a module of its own, so that the registry's hundreds of dependencies stay out of the product's go.mod. When the
// product's own go.mod has changed, this one may need "go mod tidy" too.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	"github.com/sirupsen/logrus"

	"github.com/artifact-promotion/promote/internal/regtest"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "distribution:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("distribution", flag.ContinueOnError)
	rtt := flags.Duration("rtt", 0, "round trip of the simulated network")
	bandwidth := flags.Int64("bandwidth", 0, "bytes per second of each connection and direction; 0 is no limit")
	user := flags.String("user", "", "account that may do everything, through a token service; empty is an open registry")
	password := flags.String("password", "", "the account's password")
	secure := flags.Bool("tls", false, "serve https, with HTTP/2 offered")
	name := flags.String("name", "", "host name in the address and in the certificate, in place of 127.0.0.1")
	root := flags.String("root", "", "folder that keeps the content; empty keeps it in memory, which takes much more CPU: for benchmarks, a folder of a file system in memory is better")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := regtest.Options{Auth: account(*user, *password), TLS: *secure, Name: *name}
	if *rtt > 0 || *bandwidth > 0 {
		options.Network = &regtest.Network{RTT: *rtt, BytesPerSecond: *bandwidth}
	}
	return serve(ctx, options, *root, stdin, stdout)
}

func account(user, password string) *regtest.Auth {
	if user == "" {
		return nil
	}
	everything := []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}
	return &regtest.Auth{Users: map[string]regtest.User{user: {Password: password, Grants: everything}}}
}

func serve(ctx context.Context, options regtest.Options, root string, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	app, err := newApp(ctx, root)
	if err != nil {
		return err
	}
	options.Backend = app
	registry, err := regtest.Start(options)
	if err != nil {
		return err
	}
	err = registry.Converse(stdin, stdout)
	cancel()
	if closeErr := registry.Close(); err == nil {
		err = closeErr
	}
	return err
}

func newApp(ctx context.Context, root string) (*handlers.App, error) {
	logrus.SetOutput(io.Discard)
	config := &configuration.Configuration{Version: configuration.CurrentVersion}
	config.Log.Level = "error"
	config.Log.AccessLog.Disabled = true
	config.Catalog.MaxEntries = 1000
	config.Storage = configuration.Storage{
		"inmemory":    configuration.Parameters{},
		"delete":      configuration.Parameters{"enabled": true},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}
	if root != "" {
		delete(config.Storage, "inmemory")
		config.Storage["filesystem"] = configuration.Parameters{"rootdirectory": root, "maxthreads": 100}
	}
	// Foreign layers are taken as they come.
	config.Validation.Manifests.URLs.Allow = []string{".*"}
	return handlers.NewApp(ctx, config), nil
}
