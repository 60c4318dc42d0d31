package broker

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// serveEnv, when set, makes the test binary a process that serves the
// directory it names until it is killed.
const serveEnv = "BROKER_TEST_SERVE"

func TestMain(m *testing.M) {
	dir := os.Getenv(serveEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if _, err := Start(Config{Dir: dir}); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("serving")
	select {}
}

func TestKilledProcessIsReplaced(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), serveEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "serving\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	lease, err := Attach(testContext(t), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Own != nil {
		t.Fatal("a second broker was started on the directory of a running one")
	}
	if err := lease.Close(); err != nil {
		t.Fatal(err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	r := start(t, dir) // the address file of the dead one is still there
	defer r.stop(t)
	r.createTopic(t, "t")
	r.produce(t, 0, "a")
	if diff := cmp.Diff(map[int32][]string{0: {"a"}}, r.committed(t)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}
