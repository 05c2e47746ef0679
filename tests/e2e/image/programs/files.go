// A program that calls the kernel without libc, and what it does with files: a server of a folder, read by itself, and a few calls
// beside. usage: files-go DIR PATH...    each PATH is asked of the server
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

func say(what string, more ...any) { fmt.Println(append([]any{what}, more...)...) }

func ask(address, path string) string {
	response, err := http.Get("http://" + address + path)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	digest := sha256.New()
	n, err := io.Copy(digest, response.Body)
	return fmt.Sprint(response.StatusCode, n, err, fmt.Sprintf("%x", digest.Sum(nil))[:12])
}

func main() {
	dir := os.Args[1]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.FileServer(http.Dir(dir)))
	for _, path := range os.Args[2:] {
		say(path, ask(listener.Addr().String(), path))
	}
	var group sync.WaitGroup
	answers := make([]string, 200)
	for i := range answers { // many threads of the kernel's at once
		group.Add(1)
		go func(i int) {
			defer group.Done()
			body, err := os.ReadFile(filepath.Join(dir, os.Args[2]))
			answers[i] = fmt.Sprint(len(body), err)
		}(i)
	}
	group.Wait()
	for _, answer := range answers {
		if answer != answers[0] {
			say("differs", answer, answers[0])
		}
	}
	say("200 times", answers[0])
	count := 0
	err = filepath.WalkDir(dir, func(string, fs.DirEntry, error) error { count++; return nil })
	say("walked", count, err)
	say("chdir", os.Chdir(filepath.Join(dir, "sub")))
	where, err := os.Getwd()
	body, other := os.ReadFile("leaf")
	say("there", where, err, string(body), other)
	_, err = os.Stat("nothing")
	say("stat", err)
	child := exec.Command("cat", "leaf") // has a loader, and the layer
	out, err := child.Output()
	say("cat", string(out), err)
	err = os.WriteFile("made", []byte("made by Go\n"), 0o640)
	body, other = os.ReadFile("made")
	say("made", err, string(body), other, os.Rename("made", "moved"), os.Remove("moved"))
}
