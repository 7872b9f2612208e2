package session

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketOf gives the socket that a connection ends in, below TLS and what else is put over it; nil if there is none.
func socketOf(conn net.Conn) syscall.RawConn {
	for {
		switch c := conn.(type) {
		case syscall.Conn:
			socket, err := c.SyscallConn()
			if err != nil {
				return nil
			}
			return socket
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		case interface{ Raw() net.Conn }: // of the PROXY protocol
			conn = c.Raw()
		default:
			return nil
		}
	}
}

// readable tells whether a read of a socket would not wait.
func readable(socket uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}}, 0)
	return n != 0 || err != nil
}
