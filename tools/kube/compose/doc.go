// Package compose checks deploy/compose.yaml without Docker: as strictly as Docker Compose reads it, and that every setting in it exists.
package compose
