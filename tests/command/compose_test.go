package command_test

import (
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/clusterchannel/clusterchannel/conformance/servers/container"
)

const profiles = "COMPOSE_PROFILES"

// composeFile is what the compose file may hold: any other key is an error.
type composeFile struct {
	Node     composeService `yaml:"x-node"`
	Services map[string]composeService
}

type composeService struct {
	Image           string
	Build           map[string]string
	Hostname        string
	Command         []string
	Profiles        []string
	Ports           []string
	Volumes         []string
	ReadOnly        bool     `yaml:"read_only"`
	CapDrop         []string `yaml:"cap_drop"`
	SecurityOpt     []string `yaml:"security_opt"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	Restart         string
	Networks        map[string]struct{ Aliases []string }
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var file composeFile
	decoder := yaml.NewDecoder(strings.NewReader(deployed(t, "compose/compose.yaml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

// confined reports whether a service is confined, as container.Spec means it.
func (s composeService) confined() bool {
	return s.ReadOnly && slices.Equal(s.CapDrop, []string{"ALL"}) && slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"})
}

// mounts returns the files of a service, by their paths in it.
func (s composeService) mounts(t *testing.T, profile string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, v := range s.Volumes {
		if v == dataDir {
			continue
		}
		v = strings.ReplaceAll(v, "${"+profiles+":-memberlist}", profile)
		parts := strings.Split(v, ":")
		if len(parts) != 3 || parts[2] != "ro" || path.Dir(parts[1]) != configDir {
			t.Fatalf("the volume %q is none of a file that is only read", v)
		}
		files[parts[1]] = deployed(t, path.Join("compose", parts[0]))
	}
	return files
}

// TestComposeOfItself lets Compose read its file, if it is installed.
func TestComposeOfItself(t *testing.T) {
	command := []string{"docker", "compose"}
	if exec.Command("docker", "compose", "version").Run() != nil {
		command = []string{"docker-compose"}
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		t.Skipf("no Compose is installed: %v", err)
	}
	for _, profile := range []string{"", "redis", "nats", "etcd"} {
		c := exec.Command(command[0], append(command[1:], "-f", "../../deploy/compose/compose.yaml", "config", "--services")...)
		c.Env = append(c.Environ(), profiles+"="+profile)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %v", profile, err)
		}
		got := strings.Fields(string(out)) // older ones list those of all profiles
		for name, s := range compose(t).Services {
			if (s.Profiles == nil || slices.Contains(s.Profiles, profile)) && !slices.Contains(got, name) {
				t.Errorf("%q: services %q, and not %s", profile, got, name)
			}
		}
	}
}

// TestCompose starts what the compose file says, with each backend.
func TestCompose(t *testing.T) {
	file := compose(t)
	for _, backend := range []string{"memberlist", "redis", "nats", "etcd"} {
		t.Run(backend, func(t *testing.T) {
			if testing.Short() && backend != "memberlist" {
				t.Skip("in short mode one backend is composed")
			}
			p := newPlace(t)
			var nodes []*host
			for _, name := range slices.Sorted(maps.Keys(file.Services)) {
				s := file.Services[name]
				switch {
				case slices.Contains(s.Profiles, backend):
					container.Start(t, container.Spec{
						Image: needsImage(t, s.Image), Cmd: s.Command, Networks: map[*container.Network][]string{p.mesh: {name}},
					})
				case s.Profiles == nil:
					if !s.confined() || s.Hostname != name {
						t.Errorf("%s is not confined, or has the host's name %q", name, s.Hostname)
					}
					files := s.mounts(t, backend)
					delete(files, configDir+"/alertmanager.yml") // that of the place sends to the test
					nodes = append(nodes, p.start(t, node{
						name: name, aliases: append([]string{name}, s.Networks["default"].Aliases...),
						args: append(slices.Clone(s.Command), "--cluster.peer-timeout="+p.turn.String()), files: files,
					}))
				}
			}
			if len(nodes) != 3 {
				t.Fatalf("%d nodes, want 3", len(nodes))
			}
			p.deliversOnce(t, nodes...)
		})
	}
}
