package regtest

// tester is a test, without the package that tests are made of: the program's own demo uses registries too.
type tester interface {
	Helper()
	Cleanup(end func())
	Fatal(args ...any)
	Error(args ...any)
}

// Serve is [Start] for a test, which ends the registry with it.
func Serve(t tester, o Options) *Registry {
	t.Helper()
	r, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
