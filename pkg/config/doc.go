// Package config reads a service's settings from flags, the environment and a
// YAML file under one name, and reports every mistake at once.
//
// A setting is declared once, as a pflag flag such as --smtp-listen. It is then
// also the environment variable YUBIN_SMTP_LISTEN and the YAML key
// smtp-listen, which may be nested as smtp: {listen: …}. The command line wins
// over the environment, which wins over the file, which wins over the default.
package config
