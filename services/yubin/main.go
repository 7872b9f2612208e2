// Command yubin is the whole of Yubin in one process, and the operator's command line.
package main

import (
	"os"

	"github.com/yubin-mail/yubin/services/yubin/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
