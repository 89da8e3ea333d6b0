"""What the SQL server says of clients' mistakes: one line each, as the client already has the rest."""

from __future__ import annotations

from typing import Any

# What is left out of a message and the cause behind it: how Spark begins, and what follows the first line.
NO_NEWS = r"(?s)^Error executing query with \S+, currentState \w+,\s*|^\s+|(?<=[^\r\n])[\r\n].*"
# What a client wrote may stand in it: nothing of it steers a terminal.
CONTROLS = r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
FIRST_LINE = f"%replace{{%replace{{%m%ex{{short.message}}}}{{{NO_NEWS}}}{{}}}}{{{CONTROLS}}}{{?}}"
# Loggers that write a trace of whatever a client does wrong, and how a line of ours begins.
MISTAKES = {
    "org.apache.spark.sql.hive.thriftserver.SparkExecuteStatementOperation": "A statement failed",
    "org.apache.thrift.server.TThreadPoolServer": "A connection ended",  # no login, or gone without a farewell
}


def shorten_mistakes(jvm: Any) -> None:
    """Log clients' mistakes in a line each, to standard error; loggers that the log has settings for stay as they are.

    Parameters
    ----------
    jvm : of a session whose log is Log4j 2, as Spark's is.
    """
    core = jvm.org.apache.logging.log4j.core
    context = jvm.org.apache.logging.log4j.LogManager.getContext(False)
    configuration = context.getConfiguration()
    targets = jvm.java.lang.Class.forName("org.apache.logging.log4j.core.appender.ConsoleAppender$Target")
    for name, beginning in MISTAKES.items():
        if configuration.getLoggers().containsKey(name):
            continue
        pattern = f"%d{{HH:mm:ss}} {beginning}: {FIRST_LINE}%n"
        layout = core.layout.PatternLayout.newBuilder().withPattern(pattern).withAlwaysWriteExceptions(False).build()
        builder = core.appender.ConsoleAppender.newBuilder()
        builder = builder.setTarget(jvm.java.lang.Enum.valueOf(targets, "SYSTEM_ERR"))
        appender = builder.setName(beginning).setLayout(layout).build()
        appender.start()
        logger = core.config.LoggerConfig(name, jvm.org.apache.logging.log4j.Level.ERROR, False)
        logger.addAppender(appender, None, None)
        configuration.addLogger(name, logger)
    context.updateLoggers()
