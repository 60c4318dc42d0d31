package usecases

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"streamctl/internal/testkit"
)

// No remote call per message: while it works, the process has connections to the
// broker and none to anybody else, nor does it listen or send datagrams.
func TestUC1_T7(t *testing.T) {
	if runtime.GOOS != "linux" {
		fmt.Fprintf(os.Stderr, "\n*** LEFT OUT %s: it needs /proc, there is none on %s ***\n\n", t.Name(), runtime.GOOS)
		t.Skip("needs /proc")
	}
	onBothBrokers(t, func(t *testing.T, r *rig) {
		enriched(r, 4)
		for m := range 20 {
			r.send("profiles", edit(m, "Author", -10))
		}
		c := r.start()
		want := make(testkit.Sequences)
		seenBroker := false
		for n := range 60 {
			v := view(n%20, n)
			r.send("views", v)
			want.Add(testkit.Output{Key: string(v.Key), Value: seen(v, "Author")})
			for _, s := range sockets(t, c.cmd.Process.Pid) {
				if s.kind != "tcp" || s.remote != r.cluster.Addr {
					t.Fatalf("view %d: it has a socket %+v; the broker is %s", n, s, r.cluster.Addr)
				}
				seenBroker = true
			}
		}
		if !seenBroker {
			t.Error("no connection to the broker was seen: this shows nothing")
		}
		r.awaitOutputs("out", 60)
		c.stop()
		r.same("out", want)
	})
}

// socket is one of a process's.
type socket struct {
	kind   string // tcp, udp
	remote string // host:port
}

// sockets lists what a process has of TCP and UDP.
func sockets(t *testing.T, pid int) (out []socket) {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var own []string
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil { // closed meanwhile
			continue
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			own = append(own, strings.TrimSuffix(inode, "]"))
		}
	}
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		for _, fields := range table(t, fmt.Sprintf("/proc/%d/net/%s", pid, kind)) {
			if slices.Contains(own, fields[9]) {
				out = append(out, socket{kind[:3], address(t, fields[2])})
			}
		}
	}
	return out
}

// table reads a table of the kernel's, without its header.
func table(t *testing.T, path string) (rows [][]string) {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) { // no IPv6 here
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if fields := strings.Fields(s.Text()); len(fields) > 9 && fields[0] != "sl" {
			rows = append(rows, fields)
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// address reads an address as the kernel prints it: words of four bytes, each
// backwards on machines that are little-endian, and the port.
func address(t *testing.T, text string) string {
	t.Helper()
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	ip, _ := netip.AddrFromSlice(raw)
	var number uint16
	if _, err := fmt.Sscanf(port, "%X", &number); err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(ip.Unmap(), number).String()
}
