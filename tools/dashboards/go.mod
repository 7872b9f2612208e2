module github.com/yubin-mail/yubin/tools/dashboards

go 1.26.0
