// writer DIR PAIRS: four goroutines write as victim.c does, each set under an OFD lock: one byte to DIR/pN.a, then one to
// DIR/pN.b. Static, and its own runtime makes the system calls: no preload reaches it.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

const ofdSetLockWait = 38

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func open(dir string, pair int, which string) *os.File {
	file, err := os.OpenFile(fmt.Sprintf("%s/p%d.%s", dir, pair, which), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0600)
	must(err)
	return file
}

func half(dir string, pair int, which string) {
	file := open(dir, pair, which)
	_, err := file.Write([]byte("1"))
	must(err)
	must(file.Close())
}

func lock(file *os.File, kind int16) {
	what := syscall.Flock_t{Type: kind}
	for {
		err := syscall.FcntlFlock(file.Fd(), ofdSetLockWait, &what)
		if err != syscall.EINTR {
			must(err)
			return
		}
	}
}

func main() {
	pairs, err := strconv.Atoi(os.Args[2])
	must(err)
	dir := os.Args[1]
	for first := 0; first < 4; first++ {
		go func(pair int) {
			for {
				pair = (pair + 1) % pairs
				file := open(dir, pair, "l")
				lock(file, syscall.F_WRLCK)
				half(dir, pair, "a")
				half(dir, pair, "b")
				lock(file, syscall.F_UNLCK)
				must(file.Close())
			}
		}(first)
	}
	select {}
}
