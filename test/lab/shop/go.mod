module sluice.example/shop

go 1.24
