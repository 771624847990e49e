from cpool._native cimport Pool
