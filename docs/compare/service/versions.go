package service

// Version is the service with one library.
type Version struct {
	Library string
	File    string // whose lines count
	Main    func(*Env) int
}

// Versions are listed in the order of the tables.
var Versions = []Version{
	{"fsm", "with_fsm.go", WithFSM},
	{"fx", "with_fx.go", WithFx},
	{"oklog/run", "with_run.go", WithRun},
	{"errgroup", "with_errgroup.go", WithErrgroup},
	{"suture", "with_suture.go", WithSuture},
	{"samber/do", "with_do.go", WithDo},
	{"controller-runtime", "with_controller.go", WithController},
	{"dskit", "with_dskit.go", WithDskit},
}

// Find returns the version with that library.
func Find(library string) (Version, bool) {
	for _, v := range Versions {
		if v.Library == library {
			return v, true
		}
	}
	return Version{}, false
}
