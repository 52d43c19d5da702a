"""The kind of each error code of MariaDB, MySQL and PyMySQL about the connection, the storage or the data."""

from collections.abc import Mapping

from db.failures import Failure

FAILURES: Mapping[int, Failure] = {
    # The connection has ended, or cannot be opened.
    1040: Failure.LOST,  # too many connections
    1041: Failure.LOST,  # out of memory
    1042: Failure.LOST,  # the server cannot look up the host name
    1043: Failure.LOST,  # bad handshake
    1046: Failure.LOST,  # no database selected: it was dropped, and perhaps created again
    1047: Failure.LOST,  # unknown command: a Galera node has left its cluster
    1053: Failure.LOST,  # shutdown in progress
    1077: Failure.LOST,  # normal shutdown
    1079: Failure.LOST,  # shutdown complete
    1080: Failure.LOST,  # forced close of the connection
    1129: Failure.LOST,  # host blocked after many errors
    1135: Failure.LOST,  # cannot create a thread
    1152: Failure.LOST,  # aborted connection
    1153: Failure.LOST,  # packet too large; the server closes the connection
    1155: Failure.LOST,  # error of fcntl()
    1156: Failure.LOST,  # packets out of order
    1157: Failure.LOST,  # compressed packet not readable
    1158: Failure.LOST,  # read error
    1159: Failure.LOST,  # read time-out
    1160: Failure.LOST,  # write error
    1161: Failure.LOST,  # write time-out
    1184: Failure.LOST,  # new connection aborted
    1203: Failure.LOST,  # too many connections of this account
    1226: Failure.LOST,  # resource limit of the account exceeded
    1927: Failure.LOST,  # killed, in MariaDB
    2002: Failure.LOST,  # cannot connect through the socket
    2003: Failure.LOST,  # cannot connect
    2005: Failure.LOST,  # unknown host
    2006: Failure.LOST,  # the server has gone away
    2012: Failure.LOST,  # error in the handshake
    2013: Failure.LOST,  # connection lost during a query
    2014: Failure.LOST,  # commands out of sync
    2026: Failure.LOST,  # error of TLS
    2027: Failure.LOST,  # malformed packet
    2045: Failure.LOST,  # cannot open shared memory
    2055: Failure.LOST,  # connection lost
    3169: Failure.LOST,  # killed, in MySQL
    4031: Failure.LOST,  # closed because it was idle for too long
    9001: Failure.LOST,  # ProxySQL has no server for the query
    # The account may not do this.
    1044: Failure.DENIED,  # no access to the database
    1045: Failure.DENIED,  # wrong password
    1049: Failure.DENIED,  # no such database
    1130: Failure.DENIED,  # host not allowed
    1142: Failure.NO_PRIVILEGE,  # no privilege for the table
    1143: Failure.NO_PRIVILEGE,  # no privilege for the column
    1227: Failure.NO_PRIVILEGE,  # a global privilege is missing
    1251: Failure.DENIED,  # authentication method not supported
    1275: Failure.DENIED,  # the password has an old format
    1370: Failure.NO_PRIVILEGE,  # no privilege for the routine
    1698: Failure.DENIED,  # no password given
    1820: Failure.DENIED,  # the password has expired; the connection must change it
    1862: Failure.DENIED,  # the password has expired
    3118: Failure.DENIED,  # account locked, in MySQL
    3955: Failure.DENIED,  # account blocked after wrong passwords, in MySQL
    4151: Failure.DENIED,  # account locked, in MariaDB
    # The database accepts no writes.
    1036: Failure.READ_ONLY,  # the table is read-only
    1290: Failure.READ_ONLY,  # the server runs with the option read_only
    1792: Failure.READ_ONLY,  # the transaction is read-only
    1836: Failure.READ_ONLY,  # the server is in read-only mode
    1874: Failure.READ_ONLY,  # InnoDB is in read-only mode
    3101: Failure.READ_ONLY,  # a replication group rolled back: this node is not its primary
    # Somebody has removed a table, a view or a column.
    1033: Failure.NO_TABLE,  # the table's definition is damaged
    1051: Failure.NO_TABLE,  # unknown table
    1054: Failure.NO_TABLE,  # unknown column
    1146: Failure.NO_TABLE,  # no such table
    1356: Failure.NO_TABLE,  # invalid view
    1932: Failure.NO_TABLE,  # the table does not exist in the storage engine
    # The database cannot store data.
    3: Failure.STORAGE,  # error while writing a file
    1021: Failure.STORAGE,  # disk full
    1026: Failure.STORAGE,  # error while writing a file
    1030: Failure.STORAGE,  # error of the storage engine, such as "No space left on device"
    1114: Failure.STORAGE,  # table full
    # The server cannot execute the statement at the moment.
    1037: Failure.BUSY,  # out of memory
    1038: Failure.BUSY,  # out of memory for sorting
    1205: Failure.BUSY,  # lock wait time-out
    1213: Failure.BUSY,  # deadlock
    1317: Failure.BUSY,  # statement interrupted
    # The server has rejected data. PyMySQL raises OperationalError for some of these errors.
    1264: Failure.DATA,  # number out of range of the column
    1292: Failure.DATA,  # incorrect value
    1300: Failure.DATA,  # invalid characters
    1366: Failure.DATA,  # incorrect value of the column
    1367: Failure.DATA,  # illegal value found during parsing
    1411: Failure.DATA,  # incorrect value for a function
    1441: Failure.DATA,  # date-time out of range
    1525: Failure.DATA,  # incorrect value of a type
    1690: Failure.DATA,  # number out of range of the expression
    3140: Failure.DATA,  # invalid JSON
    4025: Failure.DATA,  # a CHECK constraint is violated
    # The server has ended the statement because of its time limit.
    1969: Failure.TIME_LIMIT,  # in MariaDB
    3024: Failure.TIME_LIMIT,  # in MySQL
}
"""A dict from the error code to the kind of the error. All other codes are of the kind `OTHER`."""
